package state

import (
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Warning tells the administrator something at ADD, on standard error. It is no state.
type Warning struct {
	Attribute
	Text string
}

func (w Warning) String() string { return "# " + w.Text }

// Ensure logs the warning.
func (w Warning) Ensure(*kernel.Kernel) (bool, error) {
	slog.Warn(w.Text)
	return false, nil
}

// Verify has nothing to look at.
func (Warning) Verify(*kernel.Kernel) error { return nil }
