package main

import (
	"fmt"
	"path"
	"strings"
)

// difference is a reason why specs are lost on purpose.
type difference struct{ pkg, specs, failure string }

type differences []difference

// parseDifferences reads lines of a package, a part of the specs' names and a part of their failure, separated by bars. Lines with # say why.
func parseDifferences(text string) (all differences, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "|")
		if len(fields) != 3 {
			return nil, fmt.Errorf("differences.txt: %q has not three fields", line)
		}
		all = append(all, difference{strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1]), strings.TrimSpace(fields[2])})
	}
	return all, nil
}

func (all differences) explain(pkg string, s spec) bool {
	for _, d := range all {
		if d.pkg == path.Base(pkg) && strings.Contains(s.name, d.specs) && strings.Contains(s.failure, d.failure) {
			return true
		}
	}
	return false
}
