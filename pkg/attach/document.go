package attach

import (
	"bytes"
	"encoding/json"
	"io"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/jsontext"
)

// printDocument prints a result of CNI 1.0.0 or later in one call. The library writes its own as JSON, reads that, and writes it
// again, to leave out an empty dns, which takes as long as ten requests to the kernel.
func printDocument(r *types100.Result, to io.Writer) error {
	var text bytes.Buffer
	if err := json.Indent(&text, document(r), "", "    "); err != nil {
		return err
	}
	_, err := to.Write(text.Bytes())
	return err
}

func document(r *types100.Result) []byte {
	var w jsontext.Writer
	w.Open('{')
	w.Member("cniVersion", r.CNIVersion)
	writeAll(&w, "interfaces", r.Interfaces, writeInterface)
	writeAll(&w, "ips", r.IPs, writeIP)
	writeAll(&w, "routes", r.Routes, writeRoute)
	if !r.DNS.IsEmpty() {
		w.Key("dns")
		w.Open('{')
		w.List("nameservers", r.DNS.Nameservers)
		w.Member("domain", r.DNS.Domain)
		w.List("search", r.DNS.Search)
		w.List("options", r.DNS.Options)
		w.Close('}')
	}
	w.Close('}')
	return w.Bytes()
}

// writeAll writes a list of objects, unless it is empty.
func writeAll[T any](w *jsontext.Writer, key string, all []*T, members func(*jsontext.Writer, *T)) {
	if len(all) == 0 {
		return
	}
	w.Key(key)
	w.Open('[')
	for _, one := range all {
		w.Open('{')
		members(w, one)
		w.Close('}')
	}
	w.Close(']')
}

func writeInterface(w *jsontext.Writer, i *types100.Interface) {
	w.Key("name")
	w.String(i.Name)
	w.Member("mac", i.Mac)
	w.Number("mtu", i.Mtu)
	w.Member("sandbox", i.Sandbox)
	w.Member("socketPath", i.SocketPath)
	w.Member("pciID", i.PciID)
}

func writeIP(w *jsontext.Writer, ip *types100.IPConfig) {
	writePointed(w, "interface", ip.Interface)
	w.Member("address", ip.Address.String())
	w.Member("gateway", ipText(ip.Gateway))
}

func writeRoute(w *jsontext.Writer, r *types.Route) {
	w.Member("dst", r.Dst.String())
	w.Member("gw", ipText(r.GW))
	w.Number("mtu", r.MTU)
	w.Number("advmss", r.AdvMSS)
	w.Number("priority", r.Priority)
	writePointed(w, "table", r.Table)
	writePointed(w, "scope", r.Scope)
}

// writePointed writes a number that may be 0, unless there is none.
func writePointed(w *jsontext.Writer, key string, number *int) {
	if number != nil {
		w.Key(key)
		w.Int(int64(*number))
	}
}

// ipText is an address, or nothing for none.
func ipText(ip net.IP) string {
	if len(ip) == 0 {
		return ""
	}
	return ip.String()
}
