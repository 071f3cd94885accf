package etcdregistry

import (
	"slices"
	"strings"
)

// plain reads JSON in the form that nearly all values have, a tenth as long as
// encoding/json takes: objects without spaces, no name twice, whose values are
// strings of printable ASCII without escapes, whole numbers, true and false. What it
// does not take, good or bad, is for encoding/json to judge.
type plain struct{ rest string }

// maxPlain is how many fields of an object it takes.
const maxPlain = 16

// decodePlain is decode for such values. Labels that are those of like are like itself:
// to make a map takes about as long as all the rest.
func decodePlain(raw []byte, like map[string]string) (inst Instance, ok bool) {
	p := plain{string(raw)}
	labels := make([]plainLabel, 0, maxPlain)
	ok = p.object(func(name string) bool {
		if name == "Metadata" {
			return p.object(func(name string) bool {
				text, ok := p.value()
				switch name {
				case weightField, drainingField, ownerField, startedField:
					return ok && decodeField(&inst.Attrs, name, text) == nil
				case zoneField:
					inst.Zone, ok = plainText(text)
					return ok
				}
				labels = append(labels, plainLabel{name, strings.Trim(text, `"`)})
				return ok
			})
		}
		text, ok := p.value()
		switch name {
		case "Op":
			return ok && text == "0"
		case "Addr":
			inst.Addr, ok = plainText(text)
			return ok
		}
		return false
	})
	if !ok || p.rest != "" || checkAddr(inst.Addr) != nil {
		return Instance{}, false
	}
	inst.Labels = labelsLike(labels, like)
	return inst, true
}

// plainLabel is a label as it stands in the value.
type plainLabel struct{ name, text string }

// labelsLike returns like if it holds labels and nothing else, or else a map of them
// in memory of its own. No two have one name.
func labelsLike(labels []plainLabel, like map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	same := len(labels) == len(like)
	for _, l := range labels {
		text, ok := like[l.name]
		same = same && ok && text == l.text
	}
	if same {
		return like
	}
	own := make(map[string]string, len(labels))
	for _, l := range labels {
		own[strings.Clone(l.name)] = strings.Clone(l.text)
	}
	return own
}

// object calls field with the name of each field, to read its value.
func (p *plain) object(field func(name string) bool) bool {
	names := make([]string, 0, maxPlain)
	if !p.take("{") {
		return false
	}
	for !p.take("}") {
		if len(names) > 0 && !p.take(",") {
			return false
		}
		quoted, ok := p.cut(plainQuote(p.rest))
		if !ok {
			return false
		}
		name := quoted[1 : len(quoted)-1]
		if slices.Contains(names, name) || len(names) == maxPlain || !p.take(":") || !field(name) {
			return false
		}
		names = append(names, name)
	}
	return true
}

func (p *plain) take(text string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, text)
	return ok
}

// cut takes the next n bytes, if there are any.
func (p *plain) cut(n int) (text string, ok bool) {
	text, p.rest = p.rest[:n], p.rest[n:]
	return text, n > 0
}

// value reads a string, a whole number, true or false, as it stands there.
func (p *plain) value() (text string, ok bool) {
	if strings.HasPrefix(p.rest, `"`) {
		return p.cut(plainQuote(p.rest))
	}
	end := 0
	for end < len(p.rest) && p.rest[end] != ',' && p.rest[end] != '}' {
		end++
	}
	text, ok = p.cut(end)
	return text, ok && (text == "true" || text == "false" || isWhole(text))
}

// plainQuote returns how long the string is that s begins with, quotes included; 0 if
// it is no plain one.
func plainQuote(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < ' ', c == '\\', c > '~':
			return 0
		}
	}
	return 0
}

// isWhole tells whether text is a whole number that is not negative, as JSON has it.
func isWhole(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) == 1 || len(text) > 1 && text[0] != '0'
}

// plainText returns the string that text quotes, in memory of its own; ok is false if it
// is no plain one.
func plainText(text string) (s string, ok bool) {
	if text == "" || plainQuote(text) != len(text) {
		return "", false
	}
	return strings.Clone(text[1 : len(text)-1]), true
}
