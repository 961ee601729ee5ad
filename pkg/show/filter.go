package show

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// FilterKeys are what a filter can ask for.
const FilterKeys = "dangling, driver, id, label, name, scope, type"

// filter holds, by key, what a network has to match: one of the values of each key, and every label.
type filter struct {
	dangling *bool
	labels   []string // KEY or KEY=VALUE
	any      map[string][]matcher
}

// matcher says whether a network has what one filter asks for.
type matcher func(conflist.Network) bool

func parseFilters(texts []string) (filter, error) {
	f := filter{any: map[string][]matcher{}}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return filter{}, fmt.Errorf("filter %q: write KEY=VALUE, with a key of %s", text, FilterKeys)
		}
		if err := f.add(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)); err != nil {
			return filter{}, fmt.Errorf("filter %q: %w", text, err)
		}
	}
	return f, nil
}

func (f *filter) add(key, value string) error {
	switch key {
	case "dangling":
		dangling, err := strconv.ParseBool(value)
		if err != nil || f.dangling != nil && *f.dangling != dangling {
			return fmt.Errorf("write dangling=true or dangling=false, once")
		}
		f.dangling = &dangling
		return nil
	case "label":
		f.labels = append(f.labels, value)
		return nil
	}
	match, err := newMatcher(key, value)
	if err != nil {
		return err
	}
	f.any[key] = append(f.any[key], match)
	return nil
}

// newMatcher: as with Docker, ID and name match a regular expression anywhere, and the others whole.
func newMatcher(key, value string) (matcher, error) {
	switch key {
	case "driver":
		return func(n conflist.Network) bool { return n.Driver == value }, nil
	case "scope":
		return func(n conflist.Network) bool { return n.Scope == value }, nil
	case "type":
		if value != "builtin" && value != "custom" {
			return nil, fmt.Errorf("write type=builtin or type=custom")
		}
		return func(n conflist.Network) bool { return n.Predefined() == (value == "builtin") }, nil
	case "id", "name":
		pattern, err := regexp.Compile(value)
		if err != nil {
			return nil, err
		}
		return func(n conflist.Network) bool {
			if key == "id" {
				return pattern.MatchString(n.ID)
			}
			return pattern.MatchString(n.Name)
		}, nil
	}
	return nil, fmt.Errorf("there is no key %q: use one of %s", key, FilterKeys)
}

func (f filter) passes(n conflist.Network, used bool) bool {
	if f.dangling != nil && *f.dangling != (!n.Predefined() && !used) {
		return false
	}
	for _, label := range f.labels {
		if !n.HasLabel(label) {
			return false
		}
	}
	for _, matchers := range f.any {
		if !anyMatches(matchers, n) {
			return false
		}
	}
	return true
}

func anyMatches(matchers []matcher, n conflist.Network) bool {
	for _, match := range matchers {
		if match(n) {
			return true
		}
	}
	return false
}
