package attachment

import (
	"fmt"
	"slices"
	"strings"
)

// InUse is the error that wraps ErrInUse, and names the containers that are on a network.
func InUse(network string, alive []Attachment) error {
	var names []string
	for _, a := range alive {
		names = append(names, a.DisplayName())
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 1 {
		return fmt.Errorf("network %s %w by container %s: disconnect it first", network, ErrInUse, names[0])
	}
	return fmt.Errorf("network %s %w by containers %s: disconnect them first", network, ErrInUse, strings.Join(names, ", "))
}
