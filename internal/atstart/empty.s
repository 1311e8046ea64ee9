// Deliberately empty, on every architecture: an assembly file in the package allows prlimit to be declared without a
// body.
