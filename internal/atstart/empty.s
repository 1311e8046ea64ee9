// Deliberately empty, on every architecture: an assembly file in the package allows rawSyscall6 to be
// declared without a body.
