package tuning

import (
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Parameter is a sysctl of the container. It stays set when the declaration goes, and is as it was after an ADD that fails.
type Parameter struct{ state.Sysctl }

var _ state.Adder = Parameter{}

// Ensure is Add.
func (p Parameter) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(p, k) }

// Add writes the parameter.
func (p Parameter) Add(k *kernel.Kernel, made *state.Rollback) error {
	before, err := k.Container.Sysctl(p.Key)
	if former := (state.Sysctl{In: p.In, Key: p.Key, Value: before}); err == nil { // some can only be written
		made.Push(func() error {
			_, err := former.Ensure(k)
			return err
		})
	}
	_, err = p.Sysctl.Ensure(k)
	return err
}
