// Sbr routes what the addresses of an interface send by that interface. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() {
	attach.MainChained("sbr", attach.Chained[conf]{Parse: parse, Plan: plan})
}
