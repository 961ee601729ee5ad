// None leaves a container alone with its loopback. Installed as loopback, it serves containerd. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainMode("none", attach.Mode[conf]{Parse: parse, Plan: plan, NoAddresses: true})
}
