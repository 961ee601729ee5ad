package main

import (
	"strconv"
	"strings"
)

// object is a piece of kernel state that a plugin says it has created.
type object struct{ namespace, command string }

// createdObjects reads a plugin's log (slog's text format). One record may hold several commands, joined by &&.
func createdObjects(log string) []object {
	var created []object
	for line := range strings.Lines(log) {
		record := attributes(line)
		if record["msg"] != "created" {
			continue
		}
		for command := range strings.SplitSeq(record["object"], " && ") {
			created = append(created, object{record["namespace"], command})
		}
	}
	return created
}

// attributes splits key=value pairs, whose values are quoted as in Go where they need it.
func attributes(record string) map[string]string {
	found := map[string]string{}
	rest := strings.TrimSpace(record)
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		value, remainder, _ := strings.Cut(after, " ")
		if quoted, err := strconv.QuotedPrefix(after); err == nil {
			value, _ = strconv.Unquote(quoted) // QuotedPrefix found it well formed
			remainder = after[len(quoted):]
		}
		found[key] = value
		rest = strings.TrimSpace(remainder)
	}
	return found
}
