package atstart

const sysPrlimit64 = 334
