package ipam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/rescue"
)

// delegate is a plugin of its own, executed with the environment and the configuration of the request.
type delegate struct{ Request }

// Add executes ADD, and DEL when that fails (CNI specification 1.1.0, section 4, "Delegated Plugin Execution Procedure").
func (d delegate) Add(ctx context.Context) (lease Lease, release func() error, err error) {
	if err := d.find(); err != nil {
		return Lease{}, nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		// A plugin that cannot work at all says the same of both.
		if cleared := d.Del(ctx); cleared != nil && cleared.Error() != err.Error() {
			err = errors.Join(err, cleared)
		}
	}()
	defer rescue.Panic(&err)
	result, err := invoke.DelegateAdd(ctx, d.Type, d.Stdin, nil)
	if err != nil {
		return Lease{}, nil, d.named(err)
	}
	if lease, err = fromResult(result); err != nil {
		return Lease{}, nil, fmt.Errorf("IPAM plugin %s: result is unusable: %w", d.Type, err)
	}
	return lease, func() error { return d.Del(ctx) }, nil
}

// Check executes CHECK.
func (d delegate) Check(ctx context.Context) error {
	return d.run(func() error { return invoke.DelegateCheck(ctx, d.Type, d.Stdin, nil) })
}

// Del executes DEL.
func (d delegate) Del(ctx context.Context) error {
	return d.run(func() error { return invoke.DelegateDel(ctx, d.Type, d.Stdin, nil) })
}

// GC executes GC, whatever the list: the plugin reads it from the configuration itself.
func (d delegate) GC(ctx context.Context) error {
	return d.run(func() error { return invoke.DelegateGC(ctx, d.Type, d.Stdin, nil) })
}

// Status executes STATUS.
func (d delegate) Status(ctx context.Context) error {
	return d.run(func() error { return invoke.DelegateStatus(ctx, d.Type, d.Stdin, nil) })
}

func (d delegate) run(verb func() error) error {
	if err := d.find(); err != nil {
		return err
	}
	return d.named(verb())
}

// named says which plugin an error is of. It keeps the plugin's code.
func (d delegate) named(err error) error {
	if err == nil {
		return nil
	}
	var worded *types.Error
	if errors.As(err, &worded) && worded.Msg == "" {
		// What it printed was JSON, and not an error's.
		return failure.Of(err, "IPAM plugin %s: failed without a message", d.Type)
	}
	return fmt.Errorf("IPAM plugin %s: %w", d.Type, err)
}

// find looks for the plugin, so that a missing one is reported by the key that names it.
func (d delegate) find() error {
	paths := filepath.SplitList(os.Getenv("CNI_PATH"))
	if _, err := invoke.FindInPath(d.Type, paths); err != nil {
		return cnierr.Errorf(cnierr.ErrConfig, "ipam.type %q: no such plugin in CNI_PATH (%s): install it there or choose another, such as host-local",
			d.Type, strings.Join(paths, ":"))
	}
	return nil
}

// fromResult takes a lease from a result of any version.
func fromResult(result types.Result) (Lease, error) {
	document, err := json.Marshal(result)
	if err != nil {
		return Lease{}, err
	}
	null, err := NullIn(document)
	if err != nil {
		return Lease{}, err
	}
	if null != "" {
		return Lease{}, fmt.Errorf("%s hold a null", null)
	}
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return Lease{}, err
	}
	if len(r.IPs) == 0 {
		return Lease{}, errors.New("it has no address")
	}
	return FromResult(r)
}
