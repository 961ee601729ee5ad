package identifier

import (
	"cmp"
	"strings"
)

// CompareNatural compares names as people do: numbers within them by their value, so that web2 comes before web10.
func CompareNatural(a, b string) int {
	wholeA, wholeB := a, b
	for a != "" && b != "" {
		numberA, restA := leadingDigits(a)
		numberB, restB := leadingDigits(b)
		if numberA != "" && numberB != "" {
			if order := compareNumbers(numberA, numberB); order != 0 {
				return order
			}
			a, b = restA, restB
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(wholeA, wholeB))
}

func leadingDigits(s string) (digits, rest string) {
	length := 0
	for length < len(s) && s[length] >= '0' && s[length] <= '9' {
		length++
	}
	return s[:length], s[length:]
}

// compareNumbers compares numbers of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
