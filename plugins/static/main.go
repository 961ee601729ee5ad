// Static gives the addresses that the configuration names. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.MainStatic("static") }
