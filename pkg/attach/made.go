package attach

import (
	"errors"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// made is what an ADD has made so far, each by what takes it back.
type made []undoer

// apply applies a set. What others share may be removed by them between two steps; then all of it is tried once more.
func (m *made) apply(k *kernel.Kernel, set state.Set) error {
	const tries = 3
	var undo undoer
	var err error
	for range tries {
		if undo, err = set.Apply(k); !errors.Is(err, state.ErrVanished) {
			break
		}
	}
	if err == nil {
		*m = append(*m, undo)
	}
	return err
}

// takeBack takes all of it back, the newest first, and goes on past errors.
func (m *made) takeBack() error {
	var errs []error
	for i := len(*m) - 1; i >= 0; i-- {
		errs = append(errs, (*m)[i]())
	}
	return errors.Join(errs...)
}
