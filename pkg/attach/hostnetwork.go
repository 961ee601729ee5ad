package attach

import (
	"context"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/survey"
)

// hostNetwork is the verbs of a mode whose containers share the host's network namespace. There is no plan, so that
// nothing of the host can change, and nothing is left to remove.
type hostNetwork[C any] struct{ parse Parse[C] }

// add reports what the container shares, or passes on the result of the plugins before.
func (h hostNetwork[C]) add(_ context.Context, c *call, _ *rollback) (*types100.Result, error) {
	if _, err := h.parse(c.stdin, c.env); err != nil {
		return nil, err
	}
	prev, err := c.prevResult()
	if err != nil {
		return nil, err
	}
	k, err := c.openHost()
	if err != nil {
		return nil, err
	}
	if prev != nil {
		return prev, nil
	}
	survey, err := survey.SurveyHost(k)
	if err != nil {
		return nil, err
	}
	return c.hostResult(survey), nil
}

// hostResult names no sandbox: the specification leaves it empty for what lies on the host.
func (c *call) hostResult(s survey.Survey) *types100.Result {
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	lease := Lease{DNS: c.dns}
	for _, a := range s.Addresses {
		lease.IPs = append(lease.IPs, IP{Prefix: a.Prefix, Gateway: a.Gateway})
	}
	lease.Into(result)
	for i, a := range s.Addresses {
		result.IPs[i].Interface = types100.Int(a.Link)
	}
	for _, link := range s.Links {
		result.Interfaces = append(result.Interfaces, c.reported(link.Name, link.MAC, link.MTU, ""))
	}
	return result
}

// check verifies that the container's namespace still is the host's.
func (h hostNetwork[C]) check(_ context.Context, c *call) error {
	if _, err := h.parse(c.stdin, c.env); err != nil {
		return err
	}
	if _, err := c.recordedResult(); err != nil {
		return err
	}
	_, err := c.openHost()
	return err
}

// del has nothing to remove, whatever the configuration has become.
func (hostNetwork[C]) del(context.Context, *call) error { return nil }

// gc has nothing to remove.
func (hostNetwork[C]) gc(context.Context, *call) error { return nil }

// status needs nothing of the host but that it is there.
func (h hostNetwork[C]) status(_ context.Context, c *call) error {
	_, err := h.parse(c.stdin, c.env)
	return err
}

// openHost opens the kernel for a container that has to share the host's namespace.
func (c *call) openHost() (*kernel.Kernel, error) {
	if kernel.IsHost(c.env.Netns) {
		return c.open("")
	}
	if _, err := c.openContainer(); err != nil {
		return nil, err
	}
	return nil, cnierr.Errorf(kernel.ErrNotNamespace, "CNI_NETNS %s is not the host's own network namespace, which this network shares: "+
		"ask the runtime for host networking (nerdctl run --net host, ctr run --net-host, hostNetwork: true for a pod)", c.env.Netns)
}
