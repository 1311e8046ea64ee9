// Deliberately empty: it allows rawSyscall6 to be declared without a body.
