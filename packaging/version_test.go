package main

import (
	"testing"
	"time"
)

func TestPackageVersion(t *testing.T) {
	for version, want := range map[string]string{
		"":                        "0~20261126.g0123456789ab",
		"c2e2f8a":                 "0~20261126.g0123456789ab",
		"1.0.0":                   "1.0.0",
		"1.0.0-rc1":               "1.0.0~rc1",
		"1.0.0-3-g01234567":       "1.0.0+3.g01234567",
		"1.0.0-rc1-3-g0123-dirty": "1.0.0~rc1+3.g0123+dirty",
	} {
		r := release{version: version, commit: "0123456789abcdef", created: time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)}
		if got := r.packageVersion(); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}
