// Overlay-vxlan joins containers of many hosts to one routed network. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainMode("overlay-vxlan", attach.Mode[conf]{Parse: parse, Resolve: resolve, IPAM: addressing, Plan: plan})
}
