// Bridge joins containers to a bridge on the host, and the bridge to the outside. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.Main("bridge", parse, plan) }
