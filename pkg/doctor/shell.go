package doctor

import (
	"regexp"
	"strings"
)

// plain is what a shell takes as it stands.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// shell quotes a word for a command that somebody will run. Names of links and of containers may hold anything.
func shell(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
