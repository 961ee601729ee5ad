// Package identifier has the rules for names that a runtime or a user gives: of networks and containers, and of links. It is pure.
package identifier

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Rule says in words what Valid checks.
const Rule = "letters, digits, '_', '.' and '-', beginning with a letter or digit"

// Valid checks the rule of the CNI specification 1.1.0 for network names and container IDs, ^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$. Such a
// name is a file's, never a path. A regular expression would build its tables in every process.
func Valid(s string) bool {
	for i, r := range []byte(s) {
		alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alnum && (i == 0 || r != '_' && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}

// Printable is a text as it is shown to a person: as it stands, or quoted where it holds what would break a line or move a terminal's
// cursor. Names that other runtimes give may hold anything.
func Printable(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	return strconv.Quote(text)
}

// CheckLink says why the kernel would refuse a name for a link (dev_valid_name), or change it; or nil. The error names
// no key.
func CheckLink(name string) error {
	const longest = unix.IFNAMSIZ - 1
	switch {
	case name == "":
		return fmt.Errorf("is empty: give a name of 1 to %d bytes", longest)
	case len(name) > longest:
		return fmt.Errorf("%q has %d bytes: shorten it to at most %d", name, len(name), longest)
	case name == "." || name == "..":
		return fmt.Errorf("%q is not a name for a link: choose another", name)
	case slices.ContainsFunc([]byte(name), unfitForLink):
		return fmt.Errorf("%q holds '/', ':', '%%' or white space: choose another name", name)
	}
	return nil
}

// unfitForLink says whether a byte is none for a link's name. The kernel would replace %d by a number, and takes 0xa0 for
// white space wherever it stands (lib/ctype.c), as within some letters of UTF-8.
func unfitForLink(b byte) bool {
	return b == '/' || b == ':' || b == '%' || b <= ' ' || b == 0x7f || b == 0xa0
}
