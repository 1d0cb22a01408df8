package hookhub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Error is returned when the API rejected a request, or gave no usable response.
type Error struct {
	// Status is the HTTP status, or 0 when no response arrived.
	Status int
	// Code is the API's, or the client's own: connection_failed, redirected, not_hookhub (a successful response that is
	// not the API's), unknown (an error response that is not the API's).
	Code string
	// Message states the reason.
	Message string
	// Fields are the invalid fields of the request.
	Fields []InvalidField
	// Published has the receipts of events that were accepted before a batch failed.
	Published []Receipt

	cause error
}

// InvalidField is one invalid field of a request, such as events[0].type.
type InvalidField struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *Error) Error() string {
	said := []string{e.Message}
	if e.Status != 0 {
		said[0] = fmt.Sprintf("HookHub answered %d %s: %s", e.Status, e.Code, e.Message)
	}
	for _, field := range e.Fields {
		said = append(said, field.Field+": "+field.Message)
	}
	return strings.Join(said, " ")
}

// Unwrap returns the error of the connection, if there was no response.
func (e *Error) Unwrap() error { return e.cause }

// rejection returns the error for a response that is not successful.
func rejection(response *http.Response, body []byte) *Error {
	status := response.StatusCode
	if status >= 300 && status < 400 {
		location := response.Header.Get("Location")
		return &Error{Status: status, Code: "redirected", Message: "use the address to which HookHub redirects: " + location}
	}
	var answer struct {
		Error struct {
			Code    string         `json:"code"`
			Message string         `json:"message"`
			Fields  []InvalidField `json:"fields"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Error.Code != "" {
		return &Error{Status: status, Code: answer.Error.Code, Message: answer.Error.Message, Fields: answer.Error.Fields}
	}
	return &Error{Status: status, Code: "unknown", Message: "not an API response: " + beginning(body)}
}

// notHookHub returns the error for a successful response that the API cannot have sent.
func notHookHub(response *http.Response, body []byte) *Error {
	return &Error{Status: response.StatusCode, Code: "not_hookhub", Message: "not an API response: " + beginning(body)}
}

func beginning(body []byte) string { return fmt.Sprintf("%.200q", body) }
