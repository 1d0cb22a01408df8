// Create a webhook, list webhooks and publish an event with what openapi-generator generated.
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.EventsApi;
import org.openapitools.client.api.WebhooksApi;
import org.openapitools.client.model.NewEvent;
import org.openapitools.client.model.NewEvents;
import org.openapitools.client.model.NewWebhook;

public class RoundTrip {
    public static void main(String[] args) throws Exception {
        ApiClient client = new ApiClient();
        client.setBasePath(args[0]);
        client.addDefaultHeader("Authorization", "Bearer " + args[1]);
        WebhooksApi webhooks = new WebhooksApi(client);

        var made = webhooks.webhooksCreate(new NewWebhook().url(args[2]).events(List.of("*")), null, null);
        var page = webhooks.webhooksList(null, null, null, null, null, null, null);
        var event = new NewEvent().type("push").data(Map.of("n", 1)).repository("Hello-World");
        var receipt = new EventsApi(client).eventsCreate(new NewEvents(event), null, null).getReceipt();

        String listed = page.getResults().stream().map(one -> "\"" + one.getId() + "\"").collect(Collectors.joining(","));
        System.out.printf(
            "{\"created\": \"%s\", \"listed\": [%s], \"event\": \"%s\"}%n", made.getId(), listed, receipt.getId());
        System.exit(0);
    }
}
