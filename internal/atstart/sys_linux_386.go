package atstart

const sysPrlimit64 = 340
