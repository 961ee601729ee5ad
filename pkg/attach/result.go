package attach

import (
	"net"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Result is what ADD reports. Addresses belong to the last interface of the container.
type Result struct {
	Interfaces []Interface
	Lease
	// Chained marks a mode that may stand anywhere in a chain: the result of the plugins before it is passed on instead.
	Chained bool
}

// Interface is a link that a result names. Its MAC and MTU are read from the kernel.
type Interface struct {
	Name string
	In   state.Place
	// Addresses reports the addresses that the kernel has on the link, for a mode that leaves them to it.
	Addresses bool
}

// document is the result as CNI has it. Of the keys dns of the configuration and of the lease the former wins, also where all that it says
// is that there is nothing.
func (r Result) document(k *kernel.Kernel, c *call, prev *types100.Result) (*types100.Result, error) {
	if r.Chained && prev != nil {
		return prev, nil
	}
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	r.Lease.Into(result)
	if c.dns.Nameservers != nil || c.dns.Domain != "" || c.dns.Search != nil || c.dns.Options != nil {
		result.DNS = c.dns
	}
	c.names.pointAtResolver(&result.DNS)
	inContainer := 0
	for i, planned := range r.Interfaces {
		made, err := planned.document(k, c)
		if err != nil {
			return nil, err
		}
		result.Interfaces = append(result.Interfaces, made)
		if planned.In == state.Container {
			inContainer = i
		}
		if planned.Addresses {
			if err := planned.report(k, result); err != nil {
				return nil, err
			}
		}
	}
	for _, ip := range result.IPs {
		if ip.Interface == nil {
			ip.Interface = types100.Int(inContainer)
		}
	}
	return result, nil
}

// report adds the link's addresses to the result.
func (i Interface) report(k *kernel.Kernel, result *types100.Result) error {
	prefixes, err := state.Addresses(k, i.In, i.Name)
	if err != nil {
		return err
	}
	var found Lease
	for _, p := range prefixes {
		found.IPs = append(found.IPs, IP{Prefix: p})
	}
	index := len(result.Interfaces) - 1
	from := len(result.IPs)
	found.Into(result)
	for _, ip := range result.IPs[from:] {
		ip.Interface = types100.Int(index)
	}
	return nil
}

func (i Interface) document(k *kernel.Kernel, c *call) (*types100.Interface, error) {
	n, sandbox := k.Host, ""
	if i.In == state.Container {
		n, sandbox = k.Container, c.env.Netns
	}
	link, err := n.Link(i.Name)
	if err != nil {
		return nil, err
	}
	return c.reported(i.Name, link.Attrs().HardwareAddr, link.Attrs().MTU, sandbox), nil
}

// reported is an interface as a result has it. Its MTU is in results from CNI 1.1.0 on.
func (c *call) reported(name string, mac net.HardwareAddr, mtu int, sandbox string) *types100.Interface {
	i := &types100.Interface{Name: name, Mac: mac.String(), Sandbox: sandbox}
	if since, err := version.GreaterThanOrEqualTo(c.version(), "1.1.0"); err == nil && since {
		i.Mtu = mtu
	}
	return i
}
