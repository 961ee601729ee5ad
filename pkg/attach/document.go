package attach

import (
	"encoding/json"
	"io"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// document is a result of CNI 1.0.0 and later as it is printed. The library writes its own as JSON, reads that, and writes it
// again, to leave out an empty dns, which takes as long as ten requests to the kernel.
type document struct {
	CNIVersion string                `json:"cniVersion,omitempty"`
	Interfaces []*types100.Interface `json:"interfaces,omitempty"`
	IPs        []documentIP          `json:"ips,omitempty"`
	Routes     []documentRoute       `json:"routes,omitempty"`
	DNS        *types.DNS            `json:"dns,omitempty"`
}

type documentIP struct {
	Interface *int   `json:"interface,omitempty"`
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
}

type documentRoute struct {
	Dst      string `json:"dst"`
	GW       string `json:"gw,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	AdvMSS   int    `json:"advmss,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Table    *int   `json:"table,omitempty"`
	Scope    *int   `json:"scope,omitempty"`
}

func documentOf(r *types100.Result) document {
	d := document{CNIVersion: r.CNIVersion, Interfaces: r.Interfaces}
	for _, ip := range r.IPs {
		d.IPs = append(d.IPs, documentIP{ip.Interface, ip.Address.String(), ipText(ip.Gateway)})
	}
	for _, route := range r.Routes {
		d.Routes = append(d.Routes, documentRoute{
			route.Dst.String(), ipText(route.GW), route.MTU, route.AdvMSS, route.Priority, route.Table, route.Scope,
		})
	}
	if !r.DNS.IsEmpty() {
		d.DNS = &r.DNS
	}
	return d
}

// ipText is an address, or nothing for none.
func ipText(ip net.IP) string {
	if len(ip) == 0 {
		return ""
	}
	return ip.String()
}

// print writes the document in one call.
func (d document) print(to io.Writer) error {
	text, err := json.MarshalIndent(d, "", "    ")
	if err != nil {
		return err
	}
	_, err = to.Write(text)
	return err
}
