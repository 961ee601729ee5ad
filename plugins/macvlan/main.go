// Macvlan gives containers a link of their own on a physical network. See README.md.
package main

import "github.com/fairway-cni/fairway/pkg/attach"

func main() { attach.Main("macvlan", parse, plan) }
