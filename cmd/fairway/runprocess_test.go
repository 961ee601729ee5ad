package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestEnvFile: lines as Docker's command line reads them.
func TestEnvFile(t *testing.T) {
	for _, test := range []struct {
		text, want, refused string
	}{
		{"A=1\nB=two words \n", "A=1|B=two words ", ""},
		{"A=1\r\nB=2", "A=1|B=2", ""},
		{"\ufeffA=1\n", "A=1", ""},
		{"# A=0\n\n \t# B\n  A=1\n\tHOME\n", "A=1|HOME", ""},
		{"A=# no comment\nB=a=b\nC=\n", "A=# no comment|B=a=b|C=", ""},
		{"A='x'\n", "A='x'", ""},
		{"Ä=ö\n", "Ä=ö", ""},
		{"A=1\n=x\n", "", "line 2 has no name before '='"},
		{"a b=x\n", "", `line 1: the name "a b" has a space in it`},
		{"A =x\n", "", `line 1: the name "A " has a space in it`},
		{"HOME \n", "", `line 1: the name "HOME " has a space in it`},
		{"\n\nA=\xff\n", "", "line 3 is not text of UTF-8"},
		{"A=a\x00b\n", "", "line 1 is not text of UTF-8"},
		{"", "", ""},
	} {
		got, err := parseEnvFile(test.text)
		want := slices.DeleteFunc(strings.Split(test.want, "|"), func(v string) bool { return v == "" })
		if (err == nil) != (test.refused == "") || err != nil && err.Error() != test.refused || err == nil && !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q, %s", test.text, got, err, want, test.refused)
		}
	}
}

// TestEnvFileOfAnything: whatever a file holds, each variable has a name and can be handed to a process.
func TestEnvFileOfAnything(t *testing.T) {
	alphabet := []string{"A", "=", " ", "\t", "\n", "\r", "#", "ä", "\xff", "\x00", "\ufeff", "b"}
	for range 20_000 {
		var text strings.Builder
		for range rand.IntN(12) {
			text.WriteString(alphabet[rand.IntN(len(alphabet))])
		}
		all, err := parseEnvFile(text.String())
		for _, v := range all {
			name, _, _ := strings.Cut(v, "=")
			if err != nil || name == "" || strings.ContainsAny(name, " \t") || name[0] == '#' || strings.ContainsAny(v, "\x00\n") {
				t.Errorf("%q: got %q, %v", text.String(), v, err)
			}
		}
	}
}
