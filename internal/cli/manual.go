package cli

// manual is the text of -h.
const manual = `Usage: pidleash [OPTION...] [--] PROGRAM [ARG...]
`
