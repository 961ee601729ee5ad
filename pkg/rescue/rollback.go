package rescue

import (
	"errors"
	"slices"
)

// Rollback is what has been done so far, each by what takes it back.
type Rollback struct{ steps []func() error }

// Push notes what takes back something that was done, or is about to be: then it has to bear that there is nothing.
func (r *Rollback) Push(undo func() error) { r.steps = append(r.steps, undo) }

// Len is how many steps there are.
func (r *Rollback) Len() int { return len(r.steps) }

// Run takes all of it back, the newest first, and goes on past errors and panics.
func (r *Rollback) Run() error {
	var errs []error
	for _, undo := range slices.Backward(r.steps) {
		errs = append(errs, Call(undo))
	}
	r.steps = nil
	return errors.Join(errs...)
}

// Call calls f, and makes an error of its panic.
func Call(f func() error) (err error) {
	defer Panic(&err)
	return f()
}
