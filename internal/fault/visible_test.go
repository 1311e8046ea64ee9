package fault

import "testing"

func TestVisible(t *testing.T) {
	for _, c := range [][2]string{
		{"plain text, /run/x.pid", "plain text, /run/x.pid"},
		{"grüße 漢字 🐕", "grüße 漢字 🐕"},
		{"one\ntwo", "one?two"},
		{"one\rtwo\ttab", "one?two?tab"},
		{"\x1b[31mred\x07", "?[31mred?"},
		{"nul\x00", "nul?"},
		{"c1 \u0085\u009b", "c1 ??"},
		{"lines \u2028\u2029", "lines ??"},
		{"turned \u202e around", "turned ? around"},
		{"no UTF-8 \xff\xc3", "no UTF-8 ??"},
		{"", ""},
	} {
		if got := Visible(c[0]); got != c[1] {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
	}
}

func TestEscaped(t *testing.T) {
	for _, c := range [][2]string{
		{`{"x":"grüße 🐕"}`, `{"x":"grüße 🐕"}`},
		{"turned \u202e, c1 \u009b, next \u2028", `turned \u202e, c1 \u009b, next \u2028`},
		{"tag \U000e0001", `tag \udb40\udc01`},
	} {
		if got := Escaped(c[0]); got != c[1] {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
	}
}
