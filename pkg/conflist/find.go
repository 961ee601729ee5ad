package conflist

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotFound says that no network answers to a reference.
	ErrNotFound = errors.New("not found")
	// ErrAmbiguous says that the reference is the beginning of several IDs.
	ErrAmbiguous = errors.New("ambiguous")
)

// Find looks a network up as Docker does: by its whole ID, then by its name, then by the beginning of its ID. The error
// wraps ErrNotFound or ErrAmbiguous.
func (ns Networks) Find(ref string) (Network, error) {
	if ref == "" {
		return Network{}, fmt.Errorf("an empty name names no network: %w", ErrNotFound)
	}
	var begin []Network
	for _, n := range ns.All {
		if n.ID == ref {
			return n, nil
		}
		if strings.HasPrefix(n.ID, ref) {
			begin = append(begin, n)
		}
	}
	if n, ok := ns.named(ref); ok {
		return n, nil
	}
	switch len(begin) {
	case 0:
		if ref == Default {
			return ns.Find("bridge")
		}
		return Network{}, fmt.Errorf("network %s %w", ref, ErrNotFound)
	case 1:
		return begin[0], nil
	}
	names := make([]string, len(begin))
	for i, n := range begin {
		names[i] = n.Name
	}
	return Network{}, fmt.Errorf("network %s is %w: the IDs of %s begin with it", ref, ErrAmbiguous, strings.Join(names, ", "))
}
