package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// AllowList is the file by which an administrator limits the parameters that a network may set: a regular expression on each
// line. Without the file all are allowed.
const AllowList = "/etc/cni/tuning/allowlist.conf"

// Allowed is the administrator's leave to set kernel parameters. It is no state of ours: it stands before what it is for.
type Allowed struct {
	state.Attribute
	// Keys are the parameters as the configuration has them.
	Keys []string
}

func (Allowed) Place() state.Place { return state.Container }

func (a Allowed) String() string {
	return fmt.Sprintf("# %s are allowed by %s", strings.Join(a.Keys, ", "), AllowList)
}

// Ensure looks for each parameter in the list. The error wraps state.ErrConflict.
func (a Allowed) Ensure(*kernel.Kernel) (bool, error) {
	text, err := os.ReadFile(AllowList)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var allowed []*regexp.Regexp
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		expression, err := regexp.Compile(line)
		if err != nil {
			return false, fmt.Errorf("%s: %w: correct the regular expression: %w", AllowList, state.ErrConflict, err)
		}
		allowed = append(allowed, expression)
	}
	for _, key := range a.Keys {
		if !matchesAny(allowed, key) {
			return false, fmt.Errorf("sysctl %s matches no line of %s, %w: remove it, or let the administrator allow it",
				key, AllowList, state.ErrConflict)
		}
	}
	return false, nil
}

func matchesAny(expressions []*regexp.Regexp, text string) bool {
	for _, e := range expressions {
		if e.MatchString(text) {
			return true
		}
	}
	return false
}

// Verify has nothing to look at: the list is about ADD.
func (Allowed) Verify(*kernel.Kernel) error { return nil }
