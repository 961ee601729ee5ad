package identifier

import (
	"regexp"
	"testing"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"web-1": "web-1", "größe 日本": "größe 日本", "a\nfairway: pwned": `"a\nfairway: pwned"`, "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`, "\xff": `"\xff"`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// FuzzValid compares with the regular expression of the CNI specification.
func FuzzValid(f *testing.F) {
	specified := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)
	for _, s := range []string{"", "a", "-a", "a-_.9", ".fairway", "../etc", "a b", "ä", "a\n", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := Valid(s), specified.MatchString(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}

func TestCheckLink(t *testing.T) {
	for _, name := range []string{"eth0", "br-0.100", "a", "ümlaut", "eth0123456789ab"} {
		if err := CheckLink(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a\tb", "a\x00", "a/b", "eth0:1", "eth%d", "à", "eth0123456789abc"} {
		if CheckLink(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
