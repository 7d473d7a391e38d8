//! Every step of a trip against every fault, with real processes: a sample here, the whole with `just trip-certificate`.

use saga_proof::certificate::{Point, Script, delete, due, put};
use saga_proof::stage::{Part, Parts};
use serde_json::json;
use trip::contracts::{TOPICS, euros};

const TAKES_PLACE: &str = "desk confirmed, hotel kept, car kept, flight ticketed, airline issued";
const SOLD_OUT: &str = "desk settled, hotel cancelled, car released, flight refused, airline refused";

#[test]
fn every_step_holds_against_every_fault() -> anyhow::Result<()> {
    let parts = Parts::of_workspace(env!("CARGO_MANIFEST_DIR"))
        .of_program("trip")
        .topics(TOPICS)
        .with(Part::stranger("airline"))
        .services(["desk", "hotel", "car"])
        .with(Part::service("flight").set("AIRLINE_URL", "http://{airline}/"));
    let alpenhof = json!({"rooms": 1_000_000, "price": euros(120), "fee": euros(30)});
    let plan = json!({"passenger": "Ada", "hotel": "Alpenhof", "nights": 2, "car": "van", "flight": "QD 7"});
    Script::of("trip saga", parts)
        .first(put("hotel", "/hotels/Alpenhof").json(alpenhof))
        .begins(put("desk", "/trips/{key}").json(plan))
        .shows("airline", "/tickets", "/{key}/status")
        .never(Point::WEBHOOKS, "the airline calls nobody back")
        .path("booked", "Room and car are held, then the ticket is bought.")
        .ends(TAKES_PLACE)
        .path("silent", "As booked; the airline's first answer is lost.")
        .with("flight", "QD 13")
        .ends(TAKES_PLACE)
        .path("sold_out", "No seat: all else is given back.")
        .with("flight", "QD 0")
        .ends(SOLD_OUT)
        .path("full", "No room: the car is given back.")
        .with("hotel", "Nowhere")
        .ends("desk settled, hotel refused, car released")
        .path("no_car", "No car: the room is given back for a fee.")
        .with("car", "yacht")
        .ends("desk settled, hotel cancelled, car refused")
        .path("cancelled", "The traveller cancels before there is a car.")
        .before("car", delete("desk", "/trips/{key}"))
        .ends("desk settled, hotel cancelled, car released")
        .path("overdue", "There is no car before the desk's deadline.")
        .before("car", due("desk"))
        .ends("desk settled, hotel cancelled, car released")
        .certify("docs/certificate.md")
}
