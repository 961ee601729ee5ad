package attach

import (
	"context"
	"os"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/ipam"
)

// MainStatic runs the IPAM plugin static and exits.
func MainStatic(name string) { os.Exit(process(name, staticVerbs{})) }

// staticVerbs is the verbs of the IPAM plugin static.
type staticVerbs struct{}

func (staticVerbs) plugin(c *call) ipam.Static {
	return ipam.Static{Request: c.addressing(), Version: c.version()}
}

func (v staticVerbs) add(ctx context.Context, c *call, _ *rollback) (*types100.Result, error) {
	lease, _, err := v.plugin(c).Add(ctx)
	if err != nil {
		return nil, err
	}
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	lease.Into(result)
	return result, nil
}

func (v staticVerbs) check(ctx context.Context, c *call) error {
	prev, err := c.recordedResult()
	if err != nil {
		return err
	}
	plugin := v.plugin(c)
	if plugin.Recorded, err = ipam.FromResult(prev); err != nil {
		return Invalidf("prevResult.%w: pass on the result of ADD as it was", err)
	}
	return plugin.Check(ctx)
}

func (v staticVerbs) del(ctx context.Context, c *call) error    { return v.plugin(c).Del(ctx) }
func (v staticVerbs) gc(ctx context.Context, c *call) error     { return v.plugin(c).GC(ctx) }
func (v staticVerbs) status(ctx context.Context, c *call) error { return v.plugin(c).Status(ctx) }
