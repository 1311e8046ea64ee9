package atstart

const sysPrlimit64 = 302
