package ipam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
)

// delegate is a plugin of its own, executed with the environment and the configuration of the request.
type delegate struct{ Request }

// Add executes ADD, and DEL when that fails (CNI specification 1.1.0, section 4, "Delegated Plugin Execution Procedure").
func (d delegate) Add(ctx context.Context) (Lease, func() error, error) {
	if err := d.find(); err != nil {
		return Lease{}, nil, err
	}
	result, err := invoke.DelegateAdd(ctx, d.Type, d.Stdin, nil)
	if err != nil {
		return Lease{}, nil, errors.Join(d.named(err), d.Del(ctx))
	}
	release := func() error { return d.Del(ctx) }
	lease, err := fromResult(result)
	if err != nil {
		return Lease{}, nil, errors.Join(err, release())
	}
	return lease, release, nil
}

// named says whose error it is when the plugin did not word it itself.
func (d delegate) named(err error) error {
	var worded *types.Error
	if errors.As(err, &worded) {
		return err
	}
	return fmt.Errorf("ipam.type %s: %w", d.Type, err)
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
	return verb()
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
		return Lease{}, fmt.Errorf("the IPAM plugin gave a result whose %s hold a null", null)
	}
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return Lease{}, err
	}
	if len(r.IPs) == 0 {
		return Lease{}, errors.New("the IPAM plugin gave no address")
	}
	if slices.ContainsFunc(r.IPs, incomplete) {
		return Lease{}, errors.New("the IPAM plugin gave an entry of ips that has no address")
	}
	return FromResult(r), nil
}

func incomplete(ip *types100.IPConfig) bool { return ip.Address.IP == nil }
