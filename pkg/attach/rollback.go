package attach

import (
	"errors"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state"
)

// rollback is what an ADD has made so far, each by what takes it back. Whoever serves the ADD runs it, on an error as after
// a panic.
type rollback struct{ steps []func() error }

// push notes what takes back something that was made.
func (r *rollback) push(undo func() error) { r.steps = append(r.steps, undo) }

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
		r.push(undo)
	}
	return err
}

// run takes all of it back, the newest first, and goes on past errors and panics.
func (r *rollback) run() error {
	var errs []error
	for i := len(r.steps) - 1; i >= 0; i-- {
		errs = append(errs, rescued(r.steps[i]))
	}
	r.steps = nil
	return errors.Join(errs...)
}

// rescued calls f, and makes an error of its panic.
func rescued(f func() error) (err error) {
	defer rescue.Panic(&err)
	return f()
}
