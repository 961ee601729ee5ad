// Package plantest writes the plans of modes for golden files, as the commands an administrator would type.
package plantest

import (
	"fmt"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Describe writes a plan as commands with their namespaces, and the result below.
func Describe(set state.Set, result attach.Result) string {
	var text strings.Builder
	for _, object := range set {
		fmt.Fprintf(&text, "%-9s  %s\n", state.Where(object), commands(object))
	}
	text.WriteString("\n")
	for _, i := range result.Interfaces {
		fmt.Fprintf(&text, "interface %s of the %s\n", i.Name, i.In)
	}
	for _, ip := range result.IPs {
		fmt.Fprintf(&text, "address %s, gateway %s\n", ip.Prefix, ip.Gateway)
	}
	for _, route := range result.Routes {
		fmt.Fprintf(&text, "route %s, gateway %s\n", route.Dst, route.GW)
	}
	return text.String()
}

// commands writes the commands of an object below each other. Those without an address have none.
func commands(object state.Object) string {
	if object.String() == "" {
		return fmt.Sprintf("# %T of no address", object)
	}
	return strings.ReplaceAll(object.String(), " && ", "\n           ")
}
