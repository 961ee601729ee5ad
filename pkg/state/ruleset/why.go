package ruleset

// why says what each set is for: nft shows it as the set's comment.
var why = map[string]string{
	"bridges":           "bridges of networks, and the host's interfaces in their VLANs; the comment says what is declared",
	"within":            "the same, as pairs of in and out",
	"internal":          "key internal: no forwarding from and to other links",
	"isolated":          "key isolated: apart from all other networks",
	"no_icc":            "key icc is false: nothing goes back to the link that it came by",
	"overlays":          "overlay networks by the device group of their links",
	"overlays_within":   "the same, as pairs of in and out",
	"overlays_internal": "key internal of overlay networks",
	"overlays_isolated": "overlay networks without key open: apart from all other networks",
	"vnis":              "overlay networks of this host by UDP port and VNI",
	"peers4":            "where their packets may come from: UDP port, VNI, peer",
	"peers6":            "where their packets may come from: UDP port, VNI, peer",
	"vnis_encrypted":    "encrypted networks, of which no VXLAN packet is sent or received",
	"encrypted4":        "subnets of encrypted networks, with all device groups",
	"encrypted6":        "subnets of encrypted networks, with all device groups",
	"encrypted_by4":     "the device group by which packets of such a subnet come and go",
	"encrypted_by6":     "the device group by which packets of such a subnet come and go",
	"masquerade_from4":  "key ipMasq: link and address of each container",
	"masquerade_from6":  "key ipMasq: link and address of each container",
	"checked":           "key macspoofchk: the host's ends of containers' links",
	"genuine":           "their containers' MACs",
}
