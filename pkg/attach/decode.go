package attach

import "github.com/fairway-cni/fairway/pkg/netconf"

// Decode reads a network configuration into conf. Its errors name the key, and have CNI code 6.
func Decode(stdin []byte, conf any) error { return netconf.Decode(stdin, conf) }
