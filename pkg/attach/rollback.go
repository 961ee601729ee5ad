package attach

import (
	"errors"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state"
)

// rollback is what an ADD has made so far, each by what takes it back. Whoever serves the ADD runs it, on an error as after
// a panic.
type rollback struct{ rescue.Rollback }

// apply applies a set. What others share may be removed by them between two steps; then all of it is tried once more.
func (r *rollback) apply(k *kernel.Kernel, set state.Set) error {
	const tries = 3
	var undo func() error
	var err error
	for range tries {
		if undo, err = set.Apply(k); !errors.Is(err, state.ErrVanished) {
			break
		}
	}
	if err == nil {
		r.Push(undo)
	}
	return err
}
