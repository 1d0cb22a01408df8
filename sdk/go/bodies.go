package hookhub

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// RFC 3339: T and Z may be in lower case, and seconds may have any number of decimals. Go accepts a zone of 24 hours.
var moment = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,30})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// withData returns an event with the JSON of a body as its data.
func withData(body []byte, received Received) (*Received, error) {
	if !isJSON(body) {
		return nil, invalidBody("the body is not valid JSON")
	}
	received.Data = body
	return &received, nil
}

// envelope returns the fields of the object in a body, and its type.
func envelope(body []byte, typeIn string, needs ...string) (map[string]json.RawMessage, string, error) {
	if !isJSON(body) {
		return nil, "", invalidBody("the body is not valid JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil, "", invalidBody("the body is not an object")
	}
	for _, name := range append([]string{typeIn}, needs...) {
		if _, found := fields[name]; !found {
			return nil, "", invalidBody(fmt.Sprintf("the field %q is missing from the body", name))
		}
	}
	eventType, isText := text(fields[typeIn])
	if !isText {
		return nil, "", invalidBody(fmt.Sprintf("%q in the body is not a string", typeIn))
	}
	return fields, eventType, nil
}

// isJSON reports whether a body is JSON in UTF-8; encoding/json accepts other bytes within strings.
func isJSON(body []byte) bool { return utf8.Valid(body) && json.Valid(body) }

// text returns a JSON string, and whether it is one.
func text(value json.RawMessage) (found string, isText bool) {
	// Unmarshal leaves a string empty for null.
	isText = strings.HasPrefix(string(value), `"`) && json.Unmarshal(value, &found) == nil
	return found, isText
}

func rfc3339(written string) (time.Time, bool) {
	// There is no year 0.
	if !moment.MatchString(written) || strings.HasPrefix(written, "0000") {
		return time.Time{}, false
	}
	found, err := time.Parse(time.RFC3339Nano, strings.ToUpper(written))
	return found.UTC(), err == nil
}

// fromForm decodes the value of a form; what is not percent-encoded stays as it is.
func fromForm(value []byte) []byte {
	decoded := make([]byte, 0, len(value))
	for at := 0; at < len(value); at++ {
		switch {
		case value[at] == '+':
			decoded = append(decoded, ' ')
		case value[at] == '%' && at+2 < len(value):
			if code, err := strconv.ParseUint(string(value[at+1:at+3]), 16, 8); err == nil {
				decoded = append(decoded, byte(code))
				at += 2
				continue
			}
			decoded = append(decoded, '%')
		default:
			decoded = append(decoded, value[at])
		}
	}
	return decoded
}

func invalidBody(reason string) *VerificationError {
	return &VerificationError{"invalid_body", "The signature is valid, but " + reason + "."}
}
