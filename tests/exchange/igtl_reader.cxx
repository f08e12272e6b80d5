// Prints what the OpenIGTLink library (C++) makes of the messages of a server, until a quiet second.
#include <cstdio>
#include <string>

#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlMessageHeader.h"
#include "igtlPointMessage.h"
#include "igtlPolyDataMessage.h"
#include "igtlStringMessage.h"
#include "igtlTrajectoryMessage.h"

template <class Message>
typename Message::Pointer body(igtl::ClientSocket *socket, igtl::MessageHeader *header) {
  typename Message::Pointer made = Message::New();
  made->SetMessageHeader(header);
  made->AllocatePack();
  socket->Receive(made->GetPackBodyPointer(), made->GetPackBodySize());
  const int found = made->Unpack(1);  // 1: check the checksum
  if (!(found & igtl::MessageHeader::UNPACK_BODY)) std::printf("BROKEN\n");
  return made;
}

int main(int, char **argv) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", std::stoi(argv[1])) != 0) return 1;
  socket->SetReceiveTimeout(1000);
  while (true) {
    igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize())
      return 0;
    header->Unpack();
    const std::string kind = header->GetDeviceType();
    std::printf("%s|%s", kind.c_str(), header->GetDeviceName());
    if (kind == "STRING") {
      std::printf("|%s\n", body<igtl::StringMessage>(socket, header)->GetString());
    } else if (kind == "TRAJ") {
      igtl::TrajectoryMessage::Pointer made = body<igtl::TrajectoryMessage>(socket, header);
      std::printf("|%d\n", made->GetNumberOfTrajectoryElement());
      for (int k = 0; k < made->GetNumberOfTrajectoryElement(); ++k) {
        igtl::TrajectoryElement::Pointer one;
        made->GetTrajectoryElement(k, one);
        float a[3], b[3];
        one->GetEntryPosition(a);
        one->GetTargetPosition(b);
        std::printf("path|%s|%s|%d|%.4f|%s|%.4f %.4f %.4f|%.4f %.4f %.4f\n", one->GetName(),
                    one->GetGroupName(), one->GetType(), one->GetRadius(), one->GetOwner(), a[0],
                    a[1], a[2], b[0], b[1], b[2]);
      }
    } else if (kind == "POINT") {
      igtl::PointMessage::Pointer made = body<igtl::PointMessage>(socket, header);
      std::printf("|%d\n", made->GetNumberOfPointElement());
      for (int k = 0; k < made->GetNumberOfPointElement(); ++k) {
        igtl::PointElement::Pointer one;
        made->GetPointElement(k, one);
        float a[3];
        one->GetPosition(a);
        std::printf("point|%s|%.4f %.4f %.4f\n", one->GetName(), a[0], a[1], a[2]);
      }
    } else if (kind == "POLYDATA") {
      igtl::PolyDataMessage::Pointer made = body<igtl::PolyDataMessage>(socket, header);
      float a[3], b[3];
      made->GetPoints()->GetPoint(0, a);
      made->GetPoints()->GetPoint(1, b);
      std::printf("|%d|%u|%.4f %.4f %.4f|%.4f %.4f %.4f\n", made->GetPoints()->GetNumberOfPoints(),
                  made->GetLines()->GetNumberOfCells(), a[0], a[1], a[2], b[0], b[1], b[2]);
    } else if (kind == "IMAGE") {
      igtl::ImageMessage::Pointer made = body<igtl::ImageMessage>(socket, header);
      int size[3];
      float spacing[3], origin[3];
      igtl::Matrix4x4 m;
      made->GetDimensions(size);
      made->GetSpacing(spacing);
      made->GetOrigin(origin);
      made->GetMatrix(m);
      long count = 0;
      const unsigned char *voxels = static_cast<unsigned char *>(made->GetScalarPointer());
      unsigned long long sum = 0;
      for (long n = 0; n < long(size[0]) * size[1] * size[2]; ++n) {
        count += voxels[n] != 0;
        sum = sum * 31 + voxels[n];
      }
      std::printf("|%d %d %d|%d|%ld|%llu|%.5f %.5f %.5f|%.4f %.4f %.4f\n", size[0], size[1],
                  size[2], made->GetCoordinateSystem(), count, sum, spacing[0], spacing[1],
                  spacing[2], origin[0], origin[1], origin[2]);
      for (int row = 0; row < 3; ++row)
        std::printf("matrix|%.6f %.6f %.6f %.4f\n", m[row][0], m[row][1], m[row][2], m[row][3]);
    } else {
      return 2;
    }
  }
}
