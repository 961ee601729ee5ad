package hostlocal

import "strings"

// nameMax is NAME_MAX of Linux: the network's name becomes a directory.
const nameMax = 255

// checkNetwork enforces what section "Network configuration" of the CNI
// specification demands of a name, because it becomes part of a path.
func checkNetwork(name string) error {
	switch {
	case name == "":
		return invalidf("name is missing: name the network")
	case len(name) > nameMax:
		return invalidf("name has %d characters: use at most %d", len(name), nameMax)
	case !isIdentifier(name):
		return invalidf("name %q is not a network name: use letters, digits, '_', '.' and '-', a letter or digit first", name)
	}
	return nil
}

// isIdentifier is ^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$ of the CNI specification, without
// the tables that a regular expression builds at start-up.
func isIdentifier(s string) bool {
	for i, c := range []byte(s) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return false
		}
	}
	return s != ""
}
