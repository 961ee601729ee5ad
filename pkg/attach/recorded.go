package attach

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
)

// prevResult is the result of the plugins before, or of the whole chain at CHECK and DEL. Nil: there is none.
func (c *call) prevResult() (*types100.Result, error) {
	if len(c.conf.PrevResult) == 0 || string(c.conf.PrevResult) == "null" {
		return nil, nil
	}
	if err := withoutNull(c.conf.PrevResult); err != nil {
		return nil, err
	}
	conf := &types.NetConf{CNIVersion: c.version()}
	if err := json.Unmarshal(c.conf.PrevResult, &conf.RawPrevResult); err != nil {
		return nil, fmt.Errorf("prevResult: %w", err)
	}
	if err := version.ParsePrevResult(conf); err != nil {
		return nil, Invalidf("prevResult: %w", err)
	}
	return types100.NewResultFromResult(conf.PrevResult)
}

// recordedResult is the result of ADD, which CHECK needs.
func (c *call) recordedResult() (*types100.Result, error) {
	prev, err := c.prevResult()
	if err == nil && prev == nil {
		err = Invalidf("prevResult is missing: pass on the result of ADD, which CHECK compares with")
	}
	return prev, err
}

// withoutNull refuses lists of a recorded result that hold a null.
func withoutNull(prevResult []byte) error {
	null, err := ipam.NullIn(prevResult)
	if err != nil {
		return failure.Of(err, "prevResult is none: pass on the result of ADD as it was")
	}
	if null != "" {
		return Invalidf("prevResult.%s holds a null: pass on the result of ADD as it was", null)
	}
	return nil
}

// request is what a plan is asked about, with what a recorded result says of the container's interface.
func (c *call) request(prev *types100.Result) Request {
	r := Request{Owner: state.Owner{Network: c.conf.Name, ContainerID: c.env.ContainerID, IfName: c.env.IfName}}
	r.Host = c.hostLease()
	i := c.recordedInterface(prev)
	if i < 0 {
		return r
	}
	r.RecordedMAC, _ = net.ParseMAC(prev.Interfaces[i].Mac) // nil for a result that gives none
	// Every suite names a veth's host end right before the container's; plugins further down the chain come after.
	if i > 0 && prev.Interfaces[i-1].Sandbox == "" {
		r.RecordedHostLink = prev.Interfaces[i-1].Name
	}
	return r
}

// recordedInterface is the index of the container's interface in a recorded result, or -1.
func (c *call) recordedInterface(prev *types100.Result) int {
	if prev != nil {
		for i, recorded := range prev.Interfaces {
			if recorded.Name == c.env.IfName && recorded.Sandbox != "" {
				return i
			}
		}
	}
	return -1
}

// recordedLease is the lease within a recorded result: the addresses of the container's interface, and all routes.
func (c *call) recordedLease(prev *types100.Result) (Lease, error) {
	own := *prev
	own.IPs = nil
	index := c.recordedInterface(prev)
	for _, ip := range prev.IPs {
		// Results before 0.3.0 do not say which interface an address belongs to.
		if ip.Interface == nil || *ip.Interface == index {
			own.IPs = append(own.IPs, ip)
		}
	}
	lease, err := ipam.FromResult(&own)
	if err != nil {
		return Lease{}, Invalidf("prevResult.%w: pass on the result of ADD as it was", err)
	}
	return lease, nil
}
