import { Loader } from "./loader";

export default function Page() {
  return <Loader />;
}
