package atstart

const sysPrlimit64 = 369
