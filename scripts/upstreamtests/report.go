package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// spec is one test of a suite.
type spec struct {
	name    string
	passed  bool
	failure string // its first line
}

// readReport reads Ginkgo's report of one suite. Specs of one name are told apart by a number.
func readReport(path string) ([]spec, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(content, &suites); err != nil {
		return nil, err
	}
	var specs []spec
	seen := map[string]int{}
	for _, suite := range suites {
		for _, r := range suite.SpecReports {
			if r.LeafNodeType != "It" {
				continue
			}
			name := strings.Join(append(r.ContainerHierarchyTexts, r.LeafNodeText), " ")
			if seen[name]++; seen[name] > 1 {
				name = fmt.Sprintf("%s (%d)", name, seen[name])
			}
			specs = append(specs, spec{name: name, passed: r.State == "passed", failure: shorten(r.Failure.Message)})
		}
	}
	if len(specs) == 0 {
		return nil, fmt.Errorf("%s holds no specs", path)
	}
	return specs, nil
}

// shorten is a failure in one line.
func shorten(text string) string {
	const most = 600
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), most)]
}

// lostSpecs are those that pass with upstream's code and not with ours.
func lostSpecs(theirs, ours []spec) (lost []spec) {
	for _, s := range ours {
		if !s.passed && slices.ContainsFunc(theirs, func(t spec) bool { return t.name == s.name && t.passed }) {
			lost = append(lost, s)
		}
	}
	return lost
}

func passed(specs []spec) (count int) {
	for _, s := range specs {
		if s.passed {
			count++
		}
	}
	return count
}
