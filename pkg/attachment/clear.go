package attachment

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/libcni"
)

// ErrInUse says that containers are on a network.
var ErrInUse = errors.New("is in use")

// Clear has a network's plugins take away whatever they hold for it: DEL for each attachment in the cache whose container has
// gone, then GC with no attachment, where the network's CNI version has it (1.1.0). It goes on past errors, and gives them
// to then, which does the rest of the removal. With a container alive on the network nothing is done; the error wraps
// ErrInUse.
//
// No Attach to the network runs until then returns. Other runtimes know nothing of that lock.
func (r Runtime) Clear(ctx context.Context, network *libcni.NetworkConfigList, then func(cleared error) error) error {
	unlock, err := r.lockAlone(ctx, network.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.setAsideDamaged(network.Name); err != nil {
		return err
	}
	all, _, err := r.list(network.Name)
	if err != nil {
		return err
	}
	if alive := Of(network.Name, all); len(alive) > 0 {
		return InUse(network.Name, alive)
	}
	_, err = r.takeBackInterrupted(ctx, network.Name)
	errs := []error{err}
	for _, a := range all {
		errs = append(errs, r.del(ctx, a))
	}
	return then(errors.Join(append(errs, r.gc(ctx, network, nil, nil))...))
}
